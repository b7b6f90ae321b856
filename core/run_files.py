"""What a run's folder holds: the single source of the files' names. Nothing here needs torch.

results/runs/<run>/
    train.gin, rows.json            what is trained, and the rows that ask for it (written by the plan)
    <evaluation>.gin                a way of decoding (written by the plan)
    seed<k>/                        the run directory of one training
        operative.gin               the gin parameters that were read
        provenance.json             code, packages, machine, data, command, time
        metrics.jsonl               a line every few steps and for each validation
        model.safetensors           the trained weights; the run is finished when they are there
        model.json                  how to build the model
        evaluations.json            the list of finished evaluations
        reading_time.json           measured times of reading, of rows that report them
        evaluations/<evaluation>/
            predictions.parquet     one line per image
            metrics.json            scores and times
"""

TRAIN_GIN = "train.gin"
ROWS = "rows.json"
OPERATIVE_GIN = "operative.gin"
PROVENANCE = "provenance.json"
TRAINING_LOG = "metrics.jsonl"
MODEL = "model.safetensors"
MODEL_DESCRIPTION = "model.json"
EVALUATIONS_LIST = "evaluations.json"
READING_TIME = "reading_time.json"
PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
