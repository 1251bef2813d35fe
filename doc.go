// Package capstan is the root of a capture pipeline for Linux hosts and
// Kubernetes nodes: see README.md for what it does, ARCHITECTURE.md for the way
// of a frame through it, and policy_test.go for who may import whom.
package capstan
