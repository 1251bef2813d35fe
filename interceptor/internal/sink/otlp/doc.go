// Package otlp sends records as OpenTelemetry data: a span for each, and
// histograms of durations, by OTLP over gRPC or HTTP (opentelemetry-proto 1.x,
// "OpenTelemetry Protocol"). Names are those of the semantic conventions 1.37.
//
// A span's parent is what the request's traceparent (W3C Trace Context) names;
// its own id is made of the record's, so that a record sent again is the same
// span. Histograms are deltas, of one batch each.
package otlp
