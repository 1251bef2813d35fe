package session_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"capstan/pkg/afpacket"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/session"
)

// segment is one line of a transcript.
type segment struct {
	Channel, From, Hex string
	Fin                bool
	bytes              []byte
}

const (
	passiveClient = "connecting side"
	activeClient  = "accepting side"
	control       = "control"
)

func loadTranscript(t *testing.T, name string) (segments []segment) {
	t.Helper()
	// The recordings lie with the scripted peer that plays their other half.
	f, err := os.Open(filepath.Join("..", "..", "..", "pkg", "rpcap", "rpcaptest", "testdata", "transcripts", name+".jsonl"))
	if os.IsNotExist(err) { // what is no conversation in RPCAP lies here
		f, err = os.Open(filepath.Join("testdata", name+".jsonl"))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s segment
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		if s.bytes, err = hex.DecodeString(s.Hex); err != nil {
			t.Fatal(err)
		}
		segments = append(segments, s)
	}
	if lines.Err() != nil || len(segments) == 0 {
		t.Fatal(len(segments), lines.Err())
	}
	return segments
}

// recordedData joins what the server sent on the data channel, where clients
// are silent.
func recordedData(segments []segment) (data []byte) {
	for _, s := range segments {
		if s.Channel != control {
			data = append(data, s.bytes...)
		}
	}
	return data
}

// framesOf turns recorded packets back into what the ring held.
func framesOf(t *testing.T, data []byte, cooked bool) (frames []afpacket.Frame) {
	t.Helper()
	r := rpcap.NewReader(bytes.NewReader(data), nil)
	for {
		_, body, err := r.Next()
		if err == io.EOF {
			return frames
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := rpcap.ParsePacketHeader(body)
		if err != nil {
			t.Fatal(err)
		}
		f := afpacket.Frame{Timestamp: h.Timestamp, Len: int(h.Len), NetworkOffset: 14, Data: bytes.Clone(body[20:])}
		if cooked {
			sll := f.Data[:16]
			f.PacketType = sll[1]
			f.HardwareType = binary.BigEndian.Uint16(sll[2:])
			f.AddressLen = sll[5]
			copy(f.Address[:], sll[6:14])
			f.Protocol = binary.BigEndian.Uint16(sll[14:])
			f.Data = append(make([]byte, 14), f.Data[16:]...)
			f.Len += 14 - 16
		}
		frames = append(frames, f)
	}
}

// The client's half of conversations recorded with the reference is played to
// a session; its answers must be the reference's, byte by byte, but for ports.
func TestTranscripts(t *testing.T) {
	for _, tc := range []struct {
		name     string
		refuse   bool // the server doesn't permit null authentication
		cooked   bool
		deviates bool // ends where the reference refuses what we grant
		active   bool // the daemon has made the control connection
	}{
		{name: "list"},
		{name: "listapi"},
		{name: "tcpdump_filter"},
		{name: "tcpdump_snap"},
		{name: "api_tcp"},
		{name: "api_any", cooked: true},
		{name: "api_nodev"},
		{name: "api_refilter"},
		{name: "api_nocap"},
		{name: "api_reopen"},
		{name: "api_udp"},
		{name: "api_sampling"},
		{name: "api_samplingms"},
		{name: "active", active: true},
		{name: "auth_null_refused", refuse: true},
		{name: "auth_bad"},
		{name: "api_pwd_on_null"},
		// Deviation: a STARTCAP whose length doesn't count its instruction
		// starts the capture, see uncountedFilter.
		{name: "api_nofilter", deviates: true},
	} {
		in(t, tc.name, func(t *testing.T) {
			segments := loadTranscript(t, tc.name)
			host := newHost()
			fromClient := passiveClient
			if tc.active {
				fromClient = activeClient
			}
			host.interfaces = recordedInterfaces(t, segments, fromClient)
			r := start(t, session.Config{NullAuth: !tc.refuse, Active: tc.active}, host)
			data := recordedData(segments)
			frames := framesOf(t, data, tc.cooked)
			for _, s := range segments {
				switch {
				case s.Channel != control:
				case s.From == fromClient && s.Fin:
					r.conn.Close()
				case s.From == fromClient:
					r.write(s.bytes)
				case s.Fin:
					r.expectEnd()
				default:
					got := r.answer(t, s.bytes, tc.deviates)
					if got == rpcap.TypeStartCapReply {
						r.playData(t, frames, data)
					}
					if got != rpcap.Type(s.bytes[1]) {
						r.end() // the rest of the recording is about the refusal
						return
					}
				}
			}
			r.end()
			host.closeCheck(t)
		})
	}
}

// A client that speaks TLS to a daemon that doesn't, as OpenSSL's does.
func TestTranscriptOfTLSClient(t *testing.T) {
	in(t, "tls_client_plain_server", func(t *testing.T) {
		r := start(t, nullAuth, newHost())
		var want []byte
		for _, s := range loadTranscript(t, "tls_client_plain_server") {
			if s.From != passiveClient {
				want = append(want, s.bytes...)
			} else if !s.Fin {
				r.write(s.bytes)
			}
		}
		got, err := io.ReadAll(r.conn)
		if !bytes.Equal(got, want) || err != nil {
			t.Errorf("got %x, %v, want %x", got, err, want)
		}
		r.wait()
	})
}

// recordedInterfaces takes the list from the FINDALLIF_REPLY, if there is one.
func recordedInterfaces(t *testing.T, segments []segment, fromClient string) []rpcap.Interface {
	var answers []byte
	for _, s := range segments {
		if s.Channel == control && s.From != fromClient {
			answers = append(answers, s.bytes...)
		}
	}
	r := rpcap.NewReader(bytes.NewReader(answers), nil)
	for {
		h, body, err := r.Next()
		if err != nil {
			return nil
		}
		if h.Type == rpcap.TypeFindAllIfReply {
			var m rpcap.FindAllIfReply
			if err := rpcap.Decode(h, body, &m); err != nil || len(m.Interfaces) == 0 {
				t.Fatal(len(m.Interfaces), err)
			}
			return m.Interfaces
		}
	}
}

// answer reads one message and holds it against the recorded one.
func (r *rig) answer(t *testing.T, want []byte, deviates bool) rpcap.Type {
	t.Helper()
	got := r.receive()
	kind := rpcap.ParseHeader(got).Type
	if deviates && want[1] == byte(rpcap.TypeError) {
		if kind != rpcap.TypeStartCapReply {
			t.Fatalf("answered by %v", kind)
		}
		return kind
	}
	if kind == rpcap.TypeStartCapReply && len(got) == len(want) {
		copy(want[12:14], got[12:14]) // the port
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got  %x\nwant %x", got, want)
	}
	return kind
}

// playData lets the recorded frames arrive and compares what is delivered.
func (r *rig) playData(t *testing.T, frames []afpacket.Frame, want []byte) {
	t.Helper()
	conn := r.data.dialed
	if conn == nil {
		conn = r.data.connect(t)
	}
	t.Cleanup(func() { conn.Close() })
	synctest.Wait()
	r.host.last().Push(frames...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil { // a datagram's bounds are tested elsewhere
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the packets differ from the recorded ones")
	}
	synctest.Wait()
	go io.Copy(io.Discard, conn) // ended by the session
}

// expectEnd checks that the server has hung up or that the client has.
func (r *rig) expectEnd() {
	r.t.Helper()
	if _, _, err := r.reader.Next(); err == nil {
		r.t.Fatal("the session sends on")
	}
}
