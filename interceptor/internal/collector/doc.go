// Package collector is both sides of the service Collector
// (proto/capstan/v1/collector.proto): a [Sink] that an interceptor or a relay
// has, and a [Server] that a relay or a receiver of records runs.
package collector
