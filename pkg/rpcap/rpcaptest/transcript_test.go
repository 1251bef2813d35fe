package rpcaptest

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"capstan/pkg/rpcap"
)

// What the recordings hold was counted in the files with other means.
func TestTranscripts(t *testing.T) {
	sessions := map[string]struct {
		requests, replies string // types of the first control connection
		packets           int
		replayable        bool
	}{
		"list":              {"AUTH_REQ FINDALLIF_REQ", "AUTH_REPLY FINDALLIF_REPLY", 0, true},
		"listapi":           {"AUTH_REQ FINDALLIF_REQ", "AUTH_REPLY FINDALLIF_REPLY", 0, true},
		"tcpdump_filter":    {"AUTH_REQ OPEN_REQ STARTCAP_REQ", "AUTH_REPLY OPEN_REPLY STARTCAP_REPLY", 0, true},
		"tcpdump_snap":      {"AUTH_REQ OPEN_REQ STARTCAP_REQ", "AUTH_REPLY OPEN_REPLY STARTCAP_REPLY", 0, true},
		"api_tcp":           {"AUTH_REQ OPEN_REQ STARTCAP_REQ", "AUTH_REPLY OPEN_REPLY STARTCAP_REPLY", 128, true},
		"api_udp":           {"AUTH_REQ OPEN_REQ STARTCAP_REQ", "AUTH_REPLY OPEN_REPLY STARTCAP_REPLY", 64, true},
		"api_any":           {"AUTH_REQ OPEN_REQ STARTCAP_REQ", "AUTH_REPLY OPEN_REPLY STARTCAP_REPLY", 64, true},
		"api_nodev":         {"AUTH_REQ OPEN_REQ", "AUTH_REPLY ERROR", 0, true},
		"api_nocap":         {"AUTH_REQ OPEN_REQ STARTCAP_REQ UPDATEFILTER_REQ", "AUTH_REPLY OPEN_REPLY STARTCAP_REPLY UPDATEFILTER_REPLY", 0, true},
		"api_refilter":      {"AUTH_REQ OPEN_REQ STARTCAP_REQ UPDATEFILTER_REQ STATS_REQ CLOSE", "AUTH_REPLY OPEN_REPLY STARTCAP_REPLY UPDATEFILTER_REPLY STATS_REPLY", 64, true},
		"api_nofilter":      {"AUTH_REQ OPEN_REQ STARTCAP_REQ", "AUTH_REPLY OPEN_REPLY ERROR", 0, true},
		"api_reopen":        {"AUTH_REQ OPEN_REQ STARTCAP_REQ", "AUTH_REPLY OPEN_REPLY STARTCAP_REPLY", 64, true},
		"api_sampling":      {"AUTH_REQ OPEN_REQ SETSAMPLING_REQ STARTCAP_REQ", "AUTH_REPLY OPEN_REPLY SETSAMPLING_REPLY STARTCAP_REPLY", 64, true},
		"api_samplingms":    {"AUTH_REQ OPEN_REQ SETSAMPLING_REQ STARTCAP_REQ", "AUTH_REPLY OPEN_REPLY SETSAMPLING_REPLY STARTCAP_REPLY", 64, true},
		"api_pwd_on_null":   {"AUTH_REQ", "ERROR", 0, true},
		"auth_bad":          {"AUTH_REQ", "ERROR", 0, true},
		"auth_null_refused": {"AUTH_REQ", "ERROR", 0, true},
		"auth_ok":           {"AUTH_REQ OPEN_REQ", "AUTH_REPLY ERROR", 0, true},
		"tls_plain_client":  {"AUTH_REQ", "ERROR", 0, true},
		"active":            {"AUTH_REQ OPEN_REQ STARTCAP_REQ STATS_REQ ENDCAP_REQ", "AUTH_REPLY OPEN_REPLY STARTCAP_REPLY STATS_REPLY ENDCAP_REPLY", 128, true},
	}
	names, err := Transcripts()
	if err != nil || len(names) != len(sessions) {
		t.Fatalf("%d recordings, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			want := sessions[name]
			rec, err := Transcript(name)
			if err != nil {
				t.Fatal(err)
			}
			control := rec.Connections[0]
			if got := typesOf(t, control.Client); got != want.requests || !control.Control {
				t.Errorf("requests %s, want %s", got, want.requests)
			}
			if got := typesOf(t, control.Server); got != want.replies {
				t.Errorf("replies %s, want %s", got, want.replies)
			}
			packets := 0
			for _, c := range rec.Connections[1:] {
				if !c.Control {
					packets += len(strings.Fields(typesOf(t, c.Server)))
				}
				if !c.Control && len(c.Client) != 0 {
					t.Errorf("the client sent %x on a data connection", c.Client)
				}
			}
			if packets != want.packets {
				t.Errorf("%d packets, want %d", packets, want.packets)
			}
			script, err := rec.Replay()
			if (err == nil) != want.replayable || want.replayable && len(script) == 0 {
				t.Errorf("replay: %d steps, %v", len(script), err)
			}
			loaded, err := LoadTranscript(filepath.Join(transcriptDir, name+".jsonl"))
			if err != nil || len(loaded.Segments) != len(rec.Segments) || loaded.Name != name {
				t.Errorf("from its file: %v", err)
			}
		})
	}
}

func typesOf(t *testing.T, b []byte) string {
	t.Helper()
	all, err := Messages(b)
	if err != nil {
		t.Error(err)
	}
	var types []string
	for _, m := range all {
		types = append(types, strings.TrimPrefix(m.Type.String(), "RPCAP_MSG_"))
	}
	return strings.Join(types, " ")
}

func TestReadTranscriptRefuses(t *testing.T) {
	good := `{"channel": "control", "transport": "tcp", "conn": 0, "from": "connecting side", "hex": "00"}` + "\n"
	for want, bad := range map[string]string{
		"transport":     `{"channel": "data", "transport": "sctp", "conn": 0, "from": "server", "hex": "00"}`,
		"channel":       `{"channel": "x", "transport": "tcp", "conn": 0, "from": "connecting side", "hex": "00"}`,
		"unknown side":  `{"channel": "data", "transport": "udp", "conn": 0, "from": "accepting side", "hex": "00"}`,
		"side":          `{"channel": "data", "transport": "tcp", "conn": 0, "from": "x", "hex": "00"}`,
		"neither bytes": `{"channel": "data", "transport": "tcp", "conn": 0, "from": "connecting side"}`,
		"invalid byte":  `{"channel": "data", "transport": "tcp", "conn": 0, "from": "connecting side", "hex": "0x"}`,
		"looking for":   `x`,
	} {
		_, err := readTranscript("t", strings.NewReader(good+bad))
		if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %s", bad, err, want)
		}
	}
	if _, err := LoadTranscript("nosuch.jsonl"); err == nil {
		t.Errorf("a missing file is read")
	}
	if _, err := Transcript("nosuch"); err == nil {
		t.Errorf("a missing recording is found")
	}
}

func TestMessagesCut(t *testing.T) {
	wire := rpcap.Append(rpcap.Append(nil, &rpcap.Close{}), &rpcap.OpenRequest{Device: "eth0"})
	for n := range len(wire) {
		all, err := Messages(wire[:n])
		whole, end := 0, error(nil)
		if n >= 8 {
			whole = 1
		}
		if n != 0 && n != 8 {
			end = io.ErrUnexpectedEOF
		}
		if len(all) != whole || err != end {
			t.Errorf("%d bytes: %d messages, %v", n, len(all), err)
		}
	}
}
