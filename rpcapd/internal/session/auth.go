package session

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"capstan/pkg/rpcap"
)

// authenticate answers AUTH_REQ.
func (s *Session) authenticate(h rpcap.Header, body []byte) Reason {
	var m rpcap.AuthRequest
	if err := rpcap.Decode(h, body, &m); err != nil {
		return s.failLogin(&rpcap.Error{Code: rpcap.CodeAuth, Text: decodeText(err)}, 0)
	}
	switch {
	case m.AuthType == rpcap.AuthNull && s.cfg.NullAuth:
		s.state = stateIdle
		s.authenticated.Store(true)
		s.send(&rpcap.AuthReply{MinVersion: rpcap.Version, MaxVersion: rpcap.Version, ByteOrder: binary.NativeEndian})
		return reasonNone
	case m.AuthType == rpcap.AuthNull:
		return s.failLogin(&rpcap.Error{Code: rpcap.CodeAuthFailed,
			Text: "Authentication failed; NULL authentication not permitted."}, 0)
	case m.AuthType == rpcap.AuthPassword:
		// This daemon knows no users, so no password is right.
		return s.failLogin(&rpcap.Error{Code: rpcap.CodeAuthFailed, Text: "Authentication failed"}, s.cfg.Timeouts.AuthPause)
	default:
		return s.failLogin(&rpcap.Error{Code: rpcap.CodeAuthType, Text: "Authentication type not recognized."}, 0)
	}
}

// failLogin answers a login that failed and makes the client wait for its next
// try. Deviation: the reference lets a client try for ever.
func (s *Session) failLogin(answer *rpcap.Error, pause time.Duration) Reason {
	s.counters.FailedLogins.Add(1)
	s.failures++
	s.send(answer)
	if s.failures >= s.cfg.MaxAuthAttempts {
		return ReasonLogin
	}
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return ReasonShutdown
		}
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
