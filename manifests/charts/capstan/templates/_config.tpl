{{/* interceptor's configuration file: "yes" if there is one. */}}
{{- define "capstan.config" -}}
{{- if or .Values.interceptor.config .Values.interceptor.existingConfigSecret }}yes{{ end }}
{{- end }}

{{/* The options that the chart gives as flags, which come before the file. */}}
{{- define "capstan.ownOptions" -}}
source connect_timeout output log_format tell_host_access status_interval body_limit snaplen mask_header api_socket metrics_address
node collector collector_spool collector_spool_size collector_ca collector_cert collector_key collector_token
{{- end }}

{{/* Whether interceptor delivers to a collector by flags: the relay, or one outside. */}}
{{- define "capstan.sensorDelivers" -}}
{{- if or .Values.relay.enabled .Values.interceptor.collector.address }}yes{{ end }}
{{- end }}

{{/* Whether the sensor itself talks to the outside, as far as can be known. */}}
{{- define "capstan.sensorLeaves" -}}
{{- $leaves := or .Values.interceptor.existingConfigSecret (and (not .Values.relay.enabled) .Values.interceptor.collector.address) }}
{{- range get .Values.interceptor.config "sinks" | default list }}
{{- if or (hasKey . "kafka") (hasKey . "otlp") (hasKey . "collector") }}{{ $leaves = true }}{{ end }}
{{- end }}
{{- if $leaves }}yes{{ end }}
{{- end }}

{{/* Fails where values contradict each other. */}}
{{- define "capstan.checkConfig" -}}
{{- $i := .Values.interceptor }}
{{- if and $i.config $i.existingConfigSecret }}
{{- fail "interceptor.existingConfigSecret: it is in place of interceptor.config, so only one may be set" }}
{{- end }}
{{- $own := include "capstan.ownOptions" . | replace "\n" " " | splitList " " }}
{{- range $key, $value := $i.config }}
{{- if has $key $own }}
{{- fail (printf "interceptor.config.%s: the chart sets it as a flag, of another value; if there is none, interceptor.extraArgs comes last" $key) }}
{{- end }}
{{- end }}
{{- range get $i.config "sinks" | default list }}
{{- if and (include "capstan.sensorDelivers" $) (eq "collector" (get . "name" | default (ternary "collector" "" (hasKey . "collector")))) }}
{{- fail "interceptor.config.sinks: one needs another name than collector, which is that of relay" }}
{{- end }}
{{- end }}
{{- end }}
