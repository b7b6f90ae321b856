"""The ledger of claims: what a study says of its rows, judged by the published numbers alone and by what was measured."""
