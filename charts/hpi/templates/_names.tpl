{{- define "hpi.operatorImage" -}}
{{- required "operator.image is missing: name the operator's image by digest, REGISTRY/NAME@sha256:…" .Values.operator.image -}}
{{- end -}}

{{- define "hpi.agentImage" -}}
{{- required "agent.image is missing: name the node agents' image by digest, REGISTRY/NAME@sha256:…" .Values.agent.image -}}
{{- end -}}

{{- define "hpi.labels" -}}
app.kubernetes.io/name: hpi-{{ . }}
app.kubernetes.io/instance: hpi
app.kubernetes.io/part-of: hpi
app.kubernetes.io/component: {{ . }}
{{- end -}}

{{- /* Whether the cluster has the Prometheus operator's API, and the site wants it used. */ -}}
{{- define "hpi.isMonitored" -}}
{{- if and .Values.monitoring.enabled (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}true{{- end -}}
{{- end -}}
