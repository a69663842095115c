"""The operator: it turns declared pipelines into workloads, and prepares nodes for them."""
