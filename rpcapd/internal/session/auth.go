package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/auth"
	"capstan/rpcapd/internal/policy"
)

// authenticate answers AUTH_REQ.
func (s *Session) authenticate(h rpcap.Header, body []byte) Reason {
	var m rpcap.AuthRequest
	if err := rpcap.Decode(h, body, &m); err != nil {
		return s.failLogin(login{refusal: auth.RefusedMessage}, &rpcap.Error{Code: rpcap.CodeAuth, Text: decodeText(err)}, 0)
	}
	switch {
	case m.AuthType == rpcap.AuthNull && s.cfg.NullAuth:
		s.admit(login{method: methodNull}, s.anonymous())
		return reasonNone
	case m.AuthType == rpcap.AuthNull:
		return s.failLogin(login{method: methodNull, refusal: auth.RefusedNull}, &rpcap.Error{Code: rpcap.CodeAuthFailed,
			Text: "Authentication failed; NULL authentication not permitted."}, 0)
	case m.AuthType == rpcap.AuthPassword:
		password := bytes.Clone(m.Password) // copied because the next read overwrites the body
		clear(m.Password)
		return s.logIn(m.User, password)
	default:
		return s.failLogin(login{refusal: auth.RefusedType}, &rpcap.Error{Code: rpcap.CodeAuthType, Text: "Authentication type not recognized."}, 0)
	}
}

// login is an attempt to log in.
type login struct {
	method, user string
	refusal      auth.Refusal
}

// The methods by which clients log in, as the record calls them.
const (
	methodNull     = "null"
	methodPassword = "password"
)

// anonymous returns the rights of a client without login.
func (s *Session) anonymous() policy.Rights {
	if s.cfg.Trusted {
		return policy.Everything()
	}
	return s.cfg.Access.Anonymous()
}

// logIn answers a name and a password. Whatever is wrong with them, the answer
// is the same (CVE-2019-15162). A client that hangs up meanwhile ends it.
func (s *Session) logIn(user string, password []byte) Reason {
	if s.cfg.TLS == nil && !s.cfg.Trusted {
		s.cfg.Access.ClearPassword(s.address)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	if deadline := s.initialDeadline(); !deadline.IsZero() {
		cancel()
		ctx, cancel = context.WithDeadline(s.ctx, deadline)
	}
	defer cancel()
	var rights policy.Rights
	var err error
	reason := s.whileListening(func() { rights, err = s.cfg.Access.Login(ctx, s.address, user, password) }, cancel)
	if reason != reasonNone {
		return reason
	}
	attempt := login{method: methodPassword, user: user}
	if err != nil {
		attempt.refusal = auth.RefusedSource
		if le := (*auth.LoginError)(nil); errors.As(err, &le) {
			attempt.refusal = le.Refusal
		}
		return s.failLogin(attempt, &rpcap.Error{Code: rpcap.CodeAuthFailed, Text: "Authentication failed"}, s.cfg.Timeouts.AuthPause)
	}
	s.user = user
	s.admit(attempt, rights)
	return reasonNone
}

// admit lets the client in.
func (s *Session) admit(l login, rights policy.Rights) {
	s.rights = rights
	s.state = stateIdle
	s.authenticated.Store(true)
	s.counters.Logins.Add(1)
	s.recordLogin(l)
	s.send(&rpcap.AuthReply{MinVersion: rpcap.Version, MaxVersion: rpcap.Version, ByteOrder: binary.NativeEndian})
}

// failLogin answers a login that failed and makes the client wait for its next
// try. Deviation: the reference lets a client try for ever.
func (s *Session) failLogin(l login, answer *rpcap.Error, pause time.Duration) Reason {
	s.counters.FailedLogins[l.refusal].Add(1)
	s.recordLogin(l)
	s.failures++
	s.send(answer)
	if s.failures >= s.cfg.MaxAuthAttempts {
		return ReasonLogin
	}
	if !s.pause(pause) {
		return ReasonShutdown
	}
	return reasonNone
}

// peekFirst waits for n bytes before the first message. That there will be no
// more is left to the reader of messages to find out, unless the wait is over.
func (s *Session) peekFirst(n int) ([]byte, Reason) {
	for {
		b, err := s.control.peek(n, s.initialDeadline())
		switch {
		case err == nil:
			return b, reasonNone
		case errors.Is(err, errWoken) && s.ctx.Err() != nil:
			return nil, ReasonShutdown
		case errors.Is(err, errWoken):
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.EOF):
			return b, reasonNone
		default:
			return b, ReasonConnection
		}
	}
}
