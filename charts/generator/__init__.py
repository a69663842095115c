"""What the chart and the Kustomize base have in common with `hpi-operator manifests`, made from the same builders."""
