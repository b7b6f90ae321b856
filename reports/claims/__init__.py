"""The ledger of claims: statements about rows, judged by the published numbers alone and by the measured ones."""
