package rpcaptest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"

	"capstan/pkg/rpcap"
)

// OpenData reads a STARTCAP_REQ, makes the data connection that it asks the
// server to make, over TCP or UDP, and sends a STARTCAP_REPLY without a port.
func OpenData() Step {
	return OpenDataAfter(func(uint16) error { return nil })
}

// OpenDataAfter is [OpenData] with something to do before the connection is
// made; first gets the client's port.
func OpenDataAfter(first func(port uint16) error) Step {
	return Do("open data connection", func(s *Session) error {
		h, body, err := s.reader.Next()
		if err != nil {
			return err
		}
		var m rpcap.StartCapRequest
		if err := rpcap.Decode(h, body, &m); err != nil {
			return err
		}
		if err := errors.Join(first(m.DataPort), s.openData(m)); err != nil {
			return err
		}
		return Send(&rpcap.StartCapReply{}).run(s)
	})
}

func (s *Session) openData(m rpcap.StartCapRequest) error {
	network := "tcp"
	switch {
	case m.Flags&rpcap.StartCapDatagram != 0:
		network = "udp"
	case m.Flags&rpcap.StartCapServerOpen == 0:
		return fmt.Errorf("the client does not ask for it: flags %#x", uint16(m.Flags))
	}
	host, _, err := net.SplitHostPort(s.Control.RemoteAddr().String())
	if err != nil {
		return err
	}
	if s.Data, err = net.Dial(network, net.JoinHostPort(host, strconv.Itoa(int(m.DataPort)))); err != nil {
		return err
	}
	s.server.keep(s.Data)
	if s.server.config.TLS != nil { // the server of the session is it here, too
		s.Data = tls.Server(s.Data, s.server.config.TLS)
	}
	return s.extend()
}
