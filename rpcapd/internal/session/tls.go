package session

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"capstan/pkg/rpcap"
)

// A TLS record starts with its type, here handshake, two bytes of version and
// the length of what follows (RFC 8446 §5.1).
const (
	tlsHandshake  = 0x16
	tlsHeaderLen  = 5
	tlsMaxRecord  = 1<<14 + 2048
	tlsAlert      = 0x15
	tlsFatal      = 2
	tlsHandshakeF = 40 // handshake_failure
)

// settleTransport waits for the first byte, which tells whether the client
// speaks TLS: no RPCAP message begins with that of a TLS record. Who speaks
// what this port doesn't gets the reference's answer.
func (s *Session) settleTransport() Reason {
	b, reason := s.peekFirst(1)
	if reason != reasonNone || len(b) == 0 {
		return reason
	}
	switch speaksTLS := b[0] == tlsHandshake; {
	case speaksTLS && s.cfg.TLS == nil:
		return s.refuseTLS()
	case speaksTLS:
		return s.secureControl()
	case s.cfg.TLS != nil:
		return s.refusePlain()
	}
	return reasonNone
}

// refuseTLS answers with an alert of the client's own version.
func (s *Session) refuseTLS() Reason {
	s.counters.UnwantedTLSHello.Add(1)
	b, reason := s.peekFirst(tlsHeaderLen)
	if reason != reasonNone || len(b) < tlsHeaderLen {
		return ReasonTLS
	}
	major, minor := b[1], b[2]
	s.control.reader.Discard(tlsHeaderLen)
	if n := int(binary.BigEndian.Uint16(b[3:])); n <= tlsMaxRecord {
		if b, reason = s.peekFirst(n); reason == reasonNone {
			s.control.reader.Discard(len(b))
		}
	}
	alert := []byte{tlsAlert, major, minor, 0, 2, tlsFatal, tlsHandshakeF}
	if err := s.control.write(alert, s.cfg.Timeouts.Write); err != nil {
		s.log.Warn("Send to client failed", "err", err)
	}
	return ReasonTLS
}

// refusePlain answers in plain RPCAP. The body of the client's message is read
// when the connection is closed.
func (s *Session) refusePlain() Reason {
	s.counters.UnwantedPlain.Add(1)
	b, reason := s.peekFirst(rpcap.HeaderLen)
	if reason != reasonNone {
		return reason
	}
	if len(b) == rpcap.HeaderLen {
		s.sendVersion(rpcap.ParseHeader(b).Version, &rpcap.Error{Code: rpcap.CodeTLSRequired, Text: "TLS is required by this server"})
	}
	return ReasonPlain
}

// secureControl makes TLS of the control connection.
func (s *Session) secureControl() Reason {
	deadline := time.Now().Add(s.cfg.Timeouts.Handshake)
	if initial := s.initialDeadline(); !initial.IsZero() && initial.Before(deadline) {
		deadline = initial
	}
	conn := tls.Server(s.control.replay(), s.cfg.TLS)
	s.control.arm(deadline)
	_ = s.control.raw.SetWriteDeadline(deadline)
	if err := conn.Handshake(); err != nil {
		if s.ctx.Err() != nil {
			return ReasonShutdown
		}
		s.counters.TLSFailures.Add(1)
		s.log.Warn("TLS handshake on control connection failed: " + err.Error())
		return ReasonHandshake
	}
	s.control.conn = tlsConn{conn}
	s.control.reader = rpcap.NewReader(conn, s.bodyLimit)
	s.certificate = certificateOf(conn)
	return reasonNone
}

// secureData makes TLS of a data connection if the control connection is one.
// As in the reference, that comes after the answer to STARTCAP, and the server
// has the server's part whoever connected. It closes conn if that fails.
func (s *Session) secureData(conn net.Conn) (net.Conn, Reason) {
	if s.cfg.TLS == nil {
		return conn, reasonNone
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeouts.Handshake)
	defer cancel()
	secured := tls.Server(conn, s.cfg.TLS)
	var err error
	reason := s.whileListening(func() { err = secured.HandshakeContext(ctx) }, cancel)
	if err == nil && !bytes.Equal(certificateOf(secured), s.certificate) {
		err = errOtherCertificate
	}
	switch {
	case reason != reasonNone:
		conn.Close()
		return nil, reason
	case err != nil:
		conn.Close()
		s.counters.TLSFailures.Add(1)
		text := "TLS handshake on data connection failed"
		s.log.Warn(text + ": " + err.Error())
		s.send(startError(text))
		return nil, ReasonData
	}
	return tlsConn{secured}, reasonNone
}

// errOtherCertificate is that of a client whose data connection is somebody
// else's.
var errOtherCertificate = errors.New("the client's certificate is not that of the control connection")

// certificateOf returns the certificate that a client presented, in DER; nil is
// none.
func certificateOf(conn *tls.Conn) []byte {
	if certificates := conn.ConnectionState().PeerCertificates; len(certificates) > 0 {
		return certificates[0].Raw
	}
	return nil
}

// closeNotifyLimit bounds how long a client that doesn't read can hold up the
// end of a TLS connection, which begins with a message to it.
const closeNotifyLimit = 250 * time.Millisecond

// tlsConn is a TLS connection that is closed within closeNotifyLimit.
type tlsConn struct{ *tls.Conn }

// Close sends close_notify if the socket takes it, and closes the connection.
func (c tlsConn) Close() error {
	timer := time.AfterFunc(closeNotifyLimit, func() { c.NetConn().Close() })
	defer timer.Stop()
	return c.Conn.Close()
}

// replayConn is a connection of which some bytes have been read already.
type replayConn struct {
	net.Conn
	head io.Reader
}

func (c *replayConn) Read(p []byte) (int, error) {
	if c.head != nil {
		n, err := c.head.Read(p)
		if err == nil {
			return n, nil
		}
		c.head = nil
	}
	return c.Conn.Read(p)
}
