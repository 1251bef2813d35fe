// Package opaque counts what connections carry that nobody here reads.
package opaque
