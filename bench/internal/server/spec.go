//go:build linux

// Package server starts a capture server that is to be measured, whatever it is:
// an RPCAP server by its command line, or a program that captures locally.
package server

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Transport is how a server's frames reach the one who counts them.
type Transport string

// The transports.
const (
	TCP   Transport = "tcp"   // RPCAP over TCP
	Unix  Transport = "unix"  // RPCAP over a unix socket
	TLS   Transport = "tls"   // RPCAP over TLS
	UDP   Transport = "udp"   // RPCAP, the frames in UDP datagrams
	Local Transport = "local" // no server: it captures and says at its end how much
)

var transports = []Transport{TCP, Unix, TLS, UDP, Local}

// Spec names a server and tells how to start it. In the arguments are replaced:
// {port}, a TCP port; {socket}, the path of a unix socket; {interface}, where
// the traffic arrives; {cert} and {key}, PEM files for 127.0.0.1; {dir}, an
// empty directory; {bench}, the bench binary.
type Spec struct {
	Name      string    `json:"name"`
	Transport Transport `json:"transport"`
	Command   []string  `json:"command"`
}

// ParseSpec reads NAME=TRANSPORT:COMMAND, with the command's words between
// blanks.
func ParseSpec(s string) (Spec, error) {
	name, rest, named := strings.Cut(s, "=")
	transport, command, typed := strings.Cut(rest, ":")
	spec := Spec{Name: name, Transport: Transport(transport), Command: strings.Fields(command)}
	if !named || !typed {
		return Spec{}, fmt.Errorf("server %q: want NAME=TRANSPORT:COMMAND", s)
	}
	return spec, spec.Validate()
}

// Validate reports everything that is wrong with s.
func (s *Spec) Validate() error {
	var errs []error
	bad := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("server %q: "+format, append([]any{s.Name}, a...)...))
	}
	if s.Name == "" || strings.ContainsAny(s.Name, "/=: \t|\n") {
		bad("the name is empty or has a blank or one of / = : |")
	}
	if !slices.Contains(transports, s.Transport) {
		bad("transport %q is none of %v", s.Transport, transports)
	}
	if len(s.Command) == 0 {
		bad("no command")
	}
	return errors.Join(errs...)
}

// Public returns s without the directory of its program, which is nobody's
// business in a report.
func (s Spec) Public() Spec {
	s.Command = slices.Clone(s.Command)
	s.Command[0] = filepath.Base(s.Command[0])
	return s
}

// expand replaces the placeholders.
func (s *Spec) expand(values map[string]string) []string {
	var pairs []string
	for name, value := range values {
		pairs = append(pairs, "{"+name+"}", value)
	}
	r := strings.NewReplacer(pairs...)
	argv := make([]string, len(s.Command))
	for i, word := range s.Command {
		argv[i] = r.Replace(word)
	}
	return argv
}

// Program returns the path of the program; self is that of bench.
func (s *Spec) Program(self string) string {
	return strings.ReplaceAll(s.Command[0], "{bench}", self)
}
