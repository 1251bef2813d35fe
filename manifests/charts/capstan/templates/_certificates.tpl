{{/* The secrets with the certificates between nodes and relay. */}}
{{- define "capstan.serverSecret" -}}
{{- if eq .Values.relay.tls.source "existingSecret" }}
{{- required "relay.tls.serverSecret: must be set with relay.tls.source existingSecret" .Values.relay.tls.serverSecret }}
{{- else }}
{{- include "capstan.fullname" . }}-relay-tls
{{- end }}
{{- end }}

{{- define "capstan.clientSecret" -}}
{{- if eq .Values.relay.tls.source "existingSecret" }}
{{- required "relay.tls.clientSecret: must be set with relay.tls.source existingSecret" .Values.relay.tls.clientSecret }}
{{- else }}
{{- include "capstan.fullname" . }}-interceptor-tls
{{- end }}
{{- end }}
