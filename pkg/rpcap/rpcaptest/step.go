package rpcaptest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"capstan/pkg/rpcap"
)

// Step is one thing that a scripted server does.
type Step struct {
	name string
	run  func(*Session) error
}

// Do is a step of one's own.
func Do(name string, f func(*Session) error) Step { return Step{name: name, run: f} }

// Expect reads one message from the client, which must be m to the byte.
func Expect(m rpcap.Message) Step {
	return named("expect "+m.Type().String(), ExpectRaw(rpcap.Append(nil, m)))
}

// ExpectRaw reads as many bytes from the client as b has, which must be b.
func ExpectRaw(b []byte) Step {
	return Do("expect bytes", func(s *Session) error {
		got, err := s.reader.Peek(len(b))
		if !bytes.Equal(got, b) {
			return errors.Join(fmt.Errorf("got\n%x, want\n%x", got, b), err)
		}
		s.reader.Discard(len(b))
		return err
	})
}

// ExpectType reads one message from the client, of type t.
func ExpectType(t rpcap.Type) Step {
	return Do("expect "+t.String(), func(s *Session) error {
		h, body, err := s.reader.Next()
		if err == nil && h.Type != t {
			err = fmt.Errorf("got %v with %x", h.Type, body)
		}
		return err
	})
}

// ExpectEnd waits until the client closes the control connection, with a CLOSE
// or without.
func ExpectEnd() Step {
	return Do("expect the end", func(s *Session) error {
		for closed := false; ; closed = true {
			h, _, err := s.reader.Next()
			switch {
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			case h.Type != rpcap.TypeClose || closed:
				return fmt.Errorf("got %v", h.Type)
			}
		}
	})
}

// Send sends a message.
func Send(m rpcap.Message) Step {
	return named("send "+m.Type().String(), SendRaw(rpcap.Append(nil, m)))
}

// SendRaw sends bytes on the control connection.
func SendRaw(b []byte) Step {
	return Do("send bytes", func(s *Session) error {
		_, err := s.Control.Write(b)
		return err
	})
}

// Authenticate lets a client without a name in and says that the server is
// little endian.
func Authenticate() Step {
	return sequence("authenticate", Expect(&rpcap.AuthRequest{}), Send(&rpcap.AuthReply{ByteOrder: binary.LittleEndian}))
}

// Open answers an OPEN of the device with Ethernet.
func Open(device string) Step {
	return sequence("open "+device, Expect(&rpcap.OpenRequest{Device: device}), Send(&rpcap.OpenReply{LinkType: 1}))
}

// StartData sends a STARTCAP_REPLY with the port of a new listener, and waits
// until the client has made the data connection.
func StartData(bufferSize uint32) Step {
	return Do("start data connection", func(s *Session) error {
		l, port, err := s.listenData()
		if err != nil {
			return err
		}
		s.server.keep(l)
		if err := Send(&rpcap.StartCapReply{BufferSize: bufferSize, DataPort: port}).run(s); err != nil {
			return err
		}
		s.Data, err = s.server.accept(l)
		return err
	})
}

// SendData sends bytes on the data connection. See [AppendPacket].
func SendData(b []byte) Step {
	return Do("send data", func(s *Session) error {
		if s.Data == nil {
			return errors.New("there is no data connection")
		}
		_, err := s.Data.Write(b)
		return err
	})
}

// CloseData closes the data connection.
func CloseData() Step {
	return Do("close data connection", func(s *Session) error { return s.Data.Close() })
}

// CloseControl closes the control connection.
func CloseControl() Step {
	return Do("close control connection", func(s *Session) error { return s.Control.Close() })
}

// WaitFor waits until c is closed, which is for the test to do.
func WaitFor(c <-chan struct{}) Step {
	return Do("wait", func(s *Session) error {
		select {
		case <-c:
			return nil
		case <-s.server.aborted:
			return net.ErrClosed
		}
	})
}

// AppendPacket appends a PACKET message with the frame. Of h, CapLen is
// ignored, and Len if it is less than the frame's length.
func AppendPacket(dst []byte, h rpcap.PacketHeader, frame []byte) []byte {
	h.CapLen = uint32(len(frame))
	h.Len = max(h.Len, h.CapLen)
	at := len(dst)
	dst = append(dst, make([]byte, rpcap.PacketOverhead)...)
	h.Put(dst[at:])
	return append(dst, frame...)
}

func named(name string, step Step) Step { return Step{name: name, run: step.run} }

func sequence(name string, steps ...Step) Step {
	return Do(name, func(s *Session) error {
		for _, step := range steps {
			if err := step.run(s); err != nil {
				return fmt.Errorf("%s: %w", step.name, err)
			}
		}
		return nil
	})
}
