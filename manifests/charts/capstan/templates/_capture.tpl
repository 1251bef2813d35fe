{{/* Where rpcapd listens, and the URL of the device that is captured: its parameters are percent-encoded, with + for blanks. */}}
{{- define "capstan.socket" -}}/run/capstan/rpcapd.sock{{- end }}

{{- define "capstan.server" -}}
rpcap+unix://{{ include "capstan.socket" . | replace "/" "%2F" }}/
{{- end }}

{{- define "capstan.device" -}}
{{- $c := .Values.capture }}
{{- $parameters := list }}
{{- with $c.interfaces }}{{ $parameters = append $parameters (printf "if=%s" (join "," .)) }}{{ end }}
{{- with $c.excludeInterfaces }}{{ $parameters = append $parameters (printf "not-if=%s" (join "," .)) }}{{ end }}
{{- with $c.filter }}{{ $parameters = append $parameters (printf "filter=%s" (urlquery .)) }}{{ end }}
{{- range $key, $value := $c.parameters }}
{{- if has $key (list "if" "not-if" "filter") }}{{ fail (printf "capture.parameters.%s: there is a value of its own for it" $key) }}{{ end }}
{{- $parameters = append $parameters (printf "%s=%s" $key (urlquery $value)) }}
{{- end }}
{{- include "capstan.server" . }}any{{ with $parameters }}?{{ join "&" . }}{{ end }}
{{- end }}
