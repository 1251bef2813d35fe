// Package e2e tests the pipeline from outside: the real binaries, real
// network namespaces, a real HTTP server and client, whose own logs are the
// truth that the records are held against.
package e2e
