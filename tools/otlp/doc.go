// Package otlp has the OpenTelemetry collector's own receiver judge what the
// interceptor's OTLP sink sends. It is a module of its own because of what that
// depends on.
package otlp
