// Package remote turns what users write about a capture server (filter
// expressions, ways of the data, files of certificates and passwords) into what
// package rpcapclient takes.
package remote

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"capstan/pkg/capture"
	"capstan/pkg/pcapfilter"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
	"capstan/pkg/smallfile"
)

// PasswordVariable is the environment variable with the password, for who can't
// or doesn't want to write it elsewhere: command lines can be read by other
// users, an environment can't.
const PasswordVariable = "RPCAP_PASSWORD"

// Filter compiles a filter expression (pcap-filter(7)) for a link type; nil,
// which lets every frame through, for an empty one.
func Filter(link capture.LinkType, expression string) ([]rpcap.Instruction, error) {
	if strings.TrimSpace(expression) == "" {
		return nil, nil
	}
	program, err := pcapfilter.Compile(link, rpcap.MaxSnapLen, expression)
	if err != nil {
		return nil, err
	}
	instructions := make([]rpcap.Instruction, len(program))
	for i, p := range program {
		instructions[i] = rpcap.Instruction{Op: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	return instructions, nil
}

// CheckFilter tells whether an expression is right, as far as that doesn't
// depend on the link type.
func CheckFilter(expression string) error {
	_, err := pcapfilter.Parse(expression)
	return err
}

// Both returns the expression that holds where both do; an empty one always
// does.
func Both(a, b string) string {
	switch {
	case strings.TrimSpace(a) == "":
		return b
	case strings.TrimSpace(b) == "":
		return a
	}
	return "(" + a + ") and (" + b + ")"
}

// TLS returns the configuration of a client that verifies servers by the PEM
// certificates in caFile, or by the system's if it is empty; insecure: not at all.
func TLS(caFile string, insecure bool) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	if caFile == "" {
		return c, nil
	}
	var err error
	if c.RootCAs, err = smallfile.Authorities(caFile); err != nil {
		return nil, fmt.Errorf("CA certificates: %w", err)
	}
	return c, nil
}

// maxPassword is what a message of the protocol can hold.
const maxPassword = 1<<16 - 1

// Password completes u if it names a user and no password: with the first line
// of file, or, if file is empty, with the environment's.
func Password(u *rpcap.URL, file string) error {
	switch {
	case file != "" && u.User == "":
		return fmt.Errorf("a password without a user: write %s://USER@HOST/DEVICE", u.Scheme)
	case u.User == "" || u.Password != "":
		return nil
	case file == "":
		u.Password = os.Getenv(PasswordVariable)
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("password: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPassword+2)) // with the end of the line
	if err != nil {
		return fmt.Errorf("password: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 || len(line) > maxPassword {
		return fmt.Errorf("password: the first line of %s has %d bytes, not from 1 to %d", file, len(line), maxPassword)
	}
	u.Password = string(line)
	return nil
}

// Transport is a [rpcapclient.Transport] as a flag's value.
type Transport struct{ rpcapclient.Transport }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Transport) UnmarshalText(text []byte) error {
	for _, known := range []rpcapclient.Transport{
		rpcapclient.TransportDefault, rpcapclient.TransportConnect, rpcapclient.TransportAccept, rpcapclient.TransportDatagram,
	} {
		if known.String() == string(text) {
			t.Transport = known
			return nil
		}
	}
	return fmt.Errorf("transport %q is none of connect, accept, datagram", text)
}

// MarshalText implements encoding.TextMarshaler.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Sampling thins a capture out; the zero value doesn't. As a flag's value it is
// none, count:N or timer:MILLISECONDS, as with dumpcap's -m.
type Sampling struct {
	Method rpcap.SamplingMethod
	Value  uint32
}

var samplings = []struct {
	name   string
	method rpcap.SamplingMethod
}{
	{"none", rpcap.SamplingNone},
	{"count", rpcap.SamplingOneInN},
	{"timer", rpcap.SamplingFirstAfterMS},
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Sampling) UnmarshalText(text []byte) error {
	name, value, hasValue := strings.Cut(string(text), ":")
	for _, known := range samplings {
		if known.name != name || hasValue == (known.method == rpcap.SamplingNone) {
			continue
		}
		if !hasValue {
			*s = Sampling{}
			return nil
		}
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || n == 0 {
			return fmt.Errorf("sampling %q: %q is not from 1 to 4294967295", text, value)
		}
		*s = Sampling{known.method, uint32(n)}
		return nil
	}
	return fmt.Errorf("sampling %q is none of none, count:N, timer:MILLISECONDS", text)
}

// MarshalText implements encoding.TextMarshaler.
func (s Sampling) MarshalText() ([]byte, error) {
	for _, known := range samplings {
		switch {
		case known.method != s.Method:
		case s.Method == rpcap.SamplingNone:
			return []byte(known.name), nil
		default:
			return fmt.Appendf(nil, "%s:%d", known.name, s.Value), nil
		}
	}
	return nil, fmt.Errorf("sampling method %d is unknown", s.Method)
}
