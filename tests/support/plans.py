"""Settings of a workflow at smoke scale, as tests plan with them."""

SETTINGS = {"scale": "smoke", "data": None, "seeds": [0], "threads": 1, "peers": []}
TABLE = "table_VII"  # the smallest with a baseline
