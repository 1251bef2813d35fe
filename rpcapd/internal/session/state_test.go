package session_test

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"capstan/pkg/rpcap"
)

// names of the types as error texts spell them, by hand from the protocol's
// description.
var names = map[uint8]string{
	0x01: "RPCAP_MSG_ERROR", 0x02: "RPCAP_MSG_FINDALLIF_REQ", 0x03: "RPCAP_MSG_OPEN_REQ", 0x04: "RPCAP_MSG_STARTCAP_REQ",
	0x05: "RPCAP_MSG_UPDATEFILTER_REQ", 0x06: "RPCAP_MSG_CLOSE", 0x07: "RPCAP_MSG_PACKET", 0x08: "RPCAP_MSG_AUTH_REQ",
	0x09: "RPCAP_MSG_STATS_REQ", 0x0a: "RPCAP_MSG_ENDCAP_REQ", 0x0b: "RPCAP_MSG_SETSAMPLING_REQ",
	0x82: "RPCAP_MSG_FINDALLIF_REPLY", 0x83: "RPCAP_MSG_OPEN_REPLY", 0x84: "RPCAP_MSG_STARTCAP_REPLY",
	0x85: "RPCAP_MSG_UPDATEFILTER_REPLY", 0x88: "RPCAP_MSG_AUTH_REPLY", 0x89: "RPCAP_MSG_STATS_REPLY",
	0x8a: "RPCAP_MSG_ENDCAP_REPLY", 0x8b: "RPCAP_MSG_SETSAMPLING_REPLY",
}

// answer is what must come back for a message with an empty body.
type answer struct {
	reply uint8 // type; 0 is none
	code  uint16
	text  string
	eof   bool // the connection is closed after it
}

func errorAnswer(code uint16, text string, eof bool) answer {
	return answer{reply: 1, code: code, text: text, eof: eof}
}

// want is the protocol's table, written independently of the session's. The
// states are auth, idle, opened and capturing.
func want(state string, version, kind uint8) answer {
	authenticated := state != "auth"
	name := names[kind]
	switch {
	case version != 0 && !authenticated:
		return errorAnswer(17, "RPCAP version in requests in the authentication phase must be 0", true)
	case version != 0:
		return errorAnswer(17, "RPCAP version in message isn't supported by the server", true)
	case name == "":
		return errorAnswer(16, fmt.Sprintf("Unknown message type %d", kind), authenticated)
	case kind >= 0x80 || kind == 0x07:
		return errorAnswer(16, "Server-to-client message "+name+" received from client", authenticated)
	case kind == 0x01:
		return answer{eof: !authenticated}
	case kind == 0x06:
		return answer{eof: true}
	case kind == 0x08 && authenticated:
		return errorAnswer(16, "RPCAP_MSG_AUTH_REQ request sent after authentication was completed", true)
	case kind == 0x08:
		return errorAnswer(3, "Message payload is too short", false)
	case !authenticated:
		return errorAnswer(16, name+" request sent before authentication was completed", false)
	}
	switch kind {
	case 0x02:
		return answer{reply: 0x82}
	case 0x03:
		return errorAnswer(6, ": No such device exists (No such device exists)", false)
	case 0x04:
		return map[string]answer{
			"idle":      errorAnswer(12, "No capture device was specified", false),
			"opened":    errorAnswer(12, "Message payload is too short", false),
			"capturing": errorAnswer(12, "A capture is already running", false),
		}[state]
	case 0x05:
		if state == "capturing" {
			return errorAnswer(7, "Message payload is too short", false)
		}
		return errorAnswer(7, "Device not opened. Cannot update filter", false)
	case 0x09:
		return answer{reply: 0x89}
	case 0x0a:
		if state == "capturing" {
			return answer{reply: 0x8a}
		}
		return errorAnswer(13, "Device not opened. Cannot close the capture", false)
	}
	return errorAnswer(15, "Message payload is too short", false)
}

// reach returns a session in a state.
func reach(t *testing.T, state string) *rig {
	r := start(t, nullAuth, newHost())
	if state != "auth" {
		r.auth()
	}
	if state == "opened" || state == "capturing" {
		r.open()
	}
	if state == "capturing" {
		data := r.capture()
		go io.Copy(io.Discard, data) // ended by the session
	}
	return r
}

// Every message type in every state, in version 0 and another one.
func TestEveryMessageInEveryState(t *testing.T) {
	for _, state := range []string{"auth", "idle", "opened", "capturing"} {
		for _, version := range []uint8{0, 1} {
			for kind := range 256 {
				synctest.Test(t, func(t *testing.T) {
					r := reach(t, state)
					w := want(state, version, uint8(kind))
					r.write(rpcap.AppendHeader(nil, rpcap.Header{Version: version, Type: rpcap.Type(kind)}))
					checkAnswer(t, r, version, w, fmt.Sprintf("%s, version %d, type %#x", state, version, kind))
					if !w.eof {
						r.stillServes(state)
					}
					r.end()
					r.host.closeCheck(t)
				})
				if t.Failed() {
					return
				}
			}
		}
	}
}

func checkAnswer(t *testing.T, r *rig, version uint8, w answer, what string) {
	t.Helper()
	if w.reply != 0 {
		got := r.receive()
		h := rpcap.ParseHeader(got)
		if uint8(h.Type) != w.reply {
			t.Fatalf("%s: answered by %v: %q", what, h.Type, got)
		}
		if w.reply == 1 && (h.Value != w.code || string(got[8:]) != w.text || h.Version != version) {
			t.Fatalf("%s: version %d, error %d %q, want %d %q", what, h.Version, h.Value, got[8:], w.code, w.text)
		}
	}
	if w.eof {
		r.expectEOF()
	}
}

// stillServes checks that the session answers and is in sync.
func (r *rig) stillServes(state string) {
	r.t.Helper()
	if state == "auth" {
		r.auth()
	}
	r.inSync()
}
