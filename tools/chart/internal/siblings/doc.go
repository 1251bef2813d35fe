// Package siblings holds the tests that run the chart's pods on this host, by
// podman and without a cluster, from images built as "make image" does.
package siblings
