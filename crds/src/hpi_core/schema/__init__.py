"""The kinds as the API server reads them: structural schemas and CustomResourceDefinitions (apiextensions.k8s.io/v1).

`python -m hpi_core.schema` prints them, `make crds` writes them to `crds/`.
"""
