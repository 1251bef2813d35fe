//go:build linux

// Package daemon accepts control connections and runs their sessions.
package daemon
