package rpcaptest

import (
	"fmt"

	"capstan/pkg/rpcap"
)

// Replay returns the script of the server in the recording: every request must
// come to the byte as it was recorded, and is answered as it was recorded; data
// follow at the point of the conversation where they did. Ports for the data are
// replaced, and the server makes that connection where it did, over TCP or UDP.
// After the last message the client may send a CLOSE, recorded or not, and has to
// end the session.
//
// A recording of active mode is for a server with [Config].Active. One of several
// sessions can't be replayed.
func (rec *Recording) Replay() ([]Step, error) {
	for i, c := range rec.Connections {
		if c.Control != (i == 0) {
			return nil, fmt.Errorf("transcript %s is not one session", rec.Name)
		}
	}
	var script []Step
	var client, server []byte // of the control connection, not yet whole messages
	for _, seg := range rec.Segments {
		control := rec.Connections[seg.Conn].Control
		switch {
		case control && seg.Server:
			server = append(server, seg.Data...)
			for m, n := firstMessage(server); n > 0; m, n = firstMessage(server) {
				script = append(script, answer(m, server[:n:n]))
				server = server[n:]
			}
		case control:
			client = append(client, seg.Data...)
			for m, n := firstMessage(client); n > 0; m, n = firstMessage(client) {
				if m.Type != rpcap.TypeClose { // ExpectEnd takes it
					script = append(script, expect(m, client[:n:n]))
				}
				client = client[n:]
			}
		case seg.Server && seg.Fin:
			script = append(script, CloseData())
		case seg.Server:
			script = append(script, SendData(seg.Data))
		}
	}
	if len(client) > 0 || len(server) > 0 {
		return nil, fmt.Errorf("transcript %s ends inside of a message on the control connection", rec.Name)
	}
	return append(script, ExpectEnd()), nil
}

// expect is the step that waits for m, whose bytes are wire.
func expect(m Message, wire []byte) Step {
	var start rpcap.StartCapRequest
	if m.Type == rpcap.TypeStartCapRequest && rpcap.Decode(m.Header, m.Body, &start) == nil && start.DataPort != 0 {
		return named("expect "+m.Type.String(), expectStart(wire))
	}
	return named("expect "+m.Type.String(), ExpectRaw(wire))
}

// portOffset is where a STARTCAP_REQ has the client's port.
const portOffset = rpcap.HeaderLen + 10

// expectStart is ExpectRaw for a STARTCAP_REQ with another port, to which it
// makes the data connection.
func expectStart(wire []byte) Step {
	return Do("", func(s *Session) error {
		got, err := s.reader.Peek(len(wire))
		if err != nil {
			return err
		}
		var m rpcap.StartCapRequest
		if err := rpcap.Decode(rpcap.ParseHeader(got), got[rpcap.HeaderLen:], &m); err != nil {
			return err
		}
		want := append([]byte(nil), wire...)
		copy(want[portOffset:portOffset+2], got[portOffset:])
		if err := ExpectRaw(want).run(s); err != nil {
			return err
		}
		return s.openData(m)
	})
}

// answer is the step that sends m, whose bytes are wire.
func answer(m Message, wire []byte) Step {
	var reply rpcap.StartCapReply
	if m.Type == rpcap.TypeStartCapReply && rpcap.Decode(m.Header, m.Body, &reply) == nil && reply.DataPort != 0 {
		return StartData(reply.BufferSize)
	}
	return named("send "+m.Type.String(), SendRaw(wire))
}
