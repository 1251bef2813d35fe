package rpcaptest

import (
	"bufio"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"capstan/pkg/rpcap"
)

//go:embed testdata/transcripts/*.jsonl
var transcripts embed.FS

const transcriptDir = "testdata/transcripts"

// Recording is a recorded conversation of a client and a server.
type Recording struct {
	Name string
	// Connections are the control and data connections in the order in which
	// they appear.
	Connections []Connection
	// Segments are all bytes and ends of connections in their order.
	Segments []Segment
}

// Connection is both directions of one connection.
type Connection struct {
	ID      int
	Control bool // else a data connection
	// Accepts is true if the server accepted it, as it does in passive mode.
	Accepts bool
	// Client and Server are the bytes that each side sent.
	Client, Server []byte
}

// Segment is what one side sent at once, not necessarily whole messages.
type Segment struct {
	Conn   int // index into Connections
	Server bool
	Data   []byte
	Fin    bool // the side closed its direction; Data is empty
}

// Message is one message of one direction.
type Message struct {
	rpcap.Header
	Body []byte
}

// Transcript returns one of the recordings that come with the package, which
// are described in testdata/transcripts/README.md.
func Transcript(name string) (*Recording, error) {
	f, err := transcripts.Open(path.Join(transcriptDir, name+".jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readTranscript(name, f)
}

// Transcripts returns the names of the recordings that come with the package.
func Transcripts() ([]string, error) {
	files, err := transcripts.ReadDir(transcriptDir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".jsonl"))
	}
	return names, nil
}

// LoadTranscript reads a recording from a file of the same form.
func LoadTranscript(file string) (*Recording, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readTranscript(strings.TrimSuffix(path.Base(file), ".jsonl"), f)
}

// line is one line of the file.
type line struct {
	Channel   string `json:"channel"`
	Transport string `json:"transport"`
	Conn      int    `json:"conn"`
	From      string `json:"from"`
	Hex       string `json:"hex"`
	Fin       bool   `json:"fin"`

	connected bool // sent by the side that made the connection
	data      []byte
}

func parseLine(b []byte) (l line, err error) {
	if err := json.Unmarshal(b, &l); err != nil {
		return l, err
	}
	switch {
	case l.Transport != "tcp" && l.Transport != "udp":
		return l, fmt.Errorf("transport %q is neither tcp nor udp", l.Transport)
	case l.Channel != "control" && l.Channel != "data":
		return l, fmt.Errorf("unknown channel %q", l.Channel)
	case l.Transport == "udp" && l.From != "server" || l.Transport == "tcp" && l.From != "connecting side" && l.From != "accepting side":
		return l, fmt.Errorf("unknown side %q", l.From)
	case l.Fin == (l.Hex != ""):
		return l, errors.New("neither bytes nor an end")
	}
	l.connected = l.From == "connecting side" || l.From == "server" // which sends to the client's port
	l.data, err = hex.DecodeString(l.Hex)
	return l, err
}

func readTranscript(name string, r io.Reader) (*Recording, error) {
	var lines []line
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		l, err := parseLine(scan.Bytes())
		if err != nil {
			return nil, fmt.Errorf("transcript %s, line %d: %w", name, len(lines)+1, err)
		}
		lines = append(lines, l)
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("transcript %s: %w", name, err)
	}
	rec := &Recording{Name: name}
	for _, l := range lines {
		i := rec.connection(l, lines)
		c := &rec.Connections[i]
		server := l.connected != c.Accepts
		if server {
			c.Server = append(c.Server, l.data...)
		} else {
			c.Client = append(c.Client, l.data...)
		}
		rec.Segments = append(rec.Segments, Segment{Conn: i, Server: server, Data: l.data, Fin: l.Fin})
	}
	return rec, nil
}

// connection returns the index of l's connection, which it adds if it is new.
func (rec *Recording) connection(l line, lines []line) int {
	for i, c := range rec.Connections {
		if c.ID == l.Conn {
			return i
		}
	}
	rec.Connections = append(rec.Connections, Connection{
		ID:      l.Conn,
		Control: l.Channel == "control",
		Accepts: serverAccepts(l.Conn, lines),
	})
	return len(rec.Connections) - 1
}

// serverAccepts tells the roles on a connection by who sends first: it is the
// client on a control connection and the server on a data connection.
func serverAccepts(conn int, lines []line) bool {
	for _, l := range lines {
		if l.Conn == conn && len(l.data) > 0 {
			return l.connected == (l.Channel == "control")
		}
	}
	return true
}

// Messages splits one direction of a connection into its messages. The body of
// a STARTCAP_REQ that doesn't count its filter (see [rpcap.LacksFilter]) has the
// filter in it all the same. The error is io.ErrUnexpectedEOF if the direction
// ends inside of a message.
func Messages(b []byte) (all []Message, err error) {
	for len(b) > 0 {
		m, n := firstMessage(b)
		if n == 0 {
			return all, io.ErrUnexpectedEOF
		}
		all = append(all, m)
		b = b[n:]
	}
	return all, nil
}

// firstMessage returns the message that b starts with and its length, 0 if it
// isn't whole.
func firstMessage(b []byte) (Message, int) {
	if len(b) < rpcap.HeaderLen {
		return Message{}, 0
	}
	h := rpcap.ParseHeader(b)
	n := rpcap.HeaderLen + int(h.Len)
	if len(b) < n {
		return Message{}, 0
	}
	if h.Type == rpcap.TypeStartCapRequest && rpcap.LacksFilter(b[rpcap.HeaderLen:n]) && rpcap.IsUncountedFilter(b[n:]) {
		n += rpcap.UncountedFilterLen
	}
	return Message{Header: h, Body: b[rpcap.HeaderLen:n:n]}, n
}
