package ledger

import (
	"strings"
	"testing"
	"time"

	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/source"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
)

func balanced() Ledger {
	l := Ledger{Name: "rpcap://h/any", Live: true}
	l.Source = source.CounterSnapshot{ServerReceived: 12, ServerDropped: 2, ServerSent: 10, Frames: 10, Connected: true}
	l.Engine.Frames = 10
	l.Engine.Outcomes[packet.OutcomeTCP] = 5
	l.Engine.Outcomes[packet.OutcomeNotIP] = 1
	l.Engine.Outcomes[packet.OutcomeFragment] = 4
	l.Engine.Defrag = defrag.Stats{Fragments: 4, Joined: 2, Datagrams: 1, Waiting: 1}
	l.Engine.Defrag.Dropped[defrag.DropTimeout] = 1
	l.Engine.Datagrams[packet.OutcomeTCP] = 1
	l.Engine.Reassembly.Segments = 6
	l.Engine.Reassembly.PayloadBytes = 1500
	l.Engine.Reassembly.DeliveredBytes = 1000
	l.Engine.Reassembly.DuplicateBytes = 400
	l.Engine.Reassembly.CopyBytes = 100
	l.Engine.Protocols[engine.HTTP1] = engine.ProtocolStats{Connections: 1, Active: 1, Bytes: 1000}
	l.Engine.Reassembly.Opened, l.Engine.Reassembly.Active = 1, 1
	l.Engine.Exchange.Complete = 3
	return l
}

func TestCheck(t *testing.T) {
	l := balanced()
	if bad := l.Check(); len(bad) != 0 {
		t.Fatalf("%+v", bad)
	}
	breaks := map[string]func(*Ledger){
		"frames arrived":  func(l *Ledger) { l.Source.Frames++ },
		"sum of outcomes": func(l *Ledger) { l.Engine.Outcomes[packet.OutcomeNotIP]++ },
		"fragments taken": func(l *Ledger) {
			l.Engine.Outcomes[packet.OutcomeFragment]++
			l.Engine.Outcomes[packet.OutcomeNotIP]--
		},
		"put together + waiting": func(l *Ledger) { l.Engine.Defrag.Waiting++ },
		"datagrams put together": func(l *Ledger) { l.Engine.Datagrams[packet.OutcomeNotTCP]++ },
		"TCP found":              func(l *Ledger) { l.Engine.Reassembly.Segments++ },
		"payload":                func(l *Ledger) { l.Engine.Reassembly.PayloadBytes++ },
		"sum over protocols":     func(l *Ledger) { l.Engine.Protocols[engine.TLS].Bytes++ },
		"connections = open":     func(l *Ledger) { l.Engine.Reassembly.Closed[0]++ },
	}
	for equation, breakIt := range breaks {
		l := balanced()
		breakIt(&l)
		bad := l.Check()
		if len(bad) != 1 || !strings.Contains(bad[0].Equation, equation) {
			t.Errorf("%s: %+v", equation, bad)
		}
	}
}

func TestTableTellsLossAndImbalance(t *testing.T) {
	l := balanced()
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l.Source.OutageCount, l.Source.OutageTime = 1, 1200*time.Millisecond
	l.Source.Outages = []source.Outage{{From: from, To: from.Add(1200 * time.Millisecond)}}
	l.Source.Frames = 11
	l.Name = "some\x1b[2J.pcap" // as whoever made the file has named it
	var b strings.Builder
	WriteTable(&b, []Ledger{l}, Output{Emitted: 3, Bytes: 2048})
	for _, want := range []string{
		"2    lost in its ring", "1  outages, 1.2s without capture", "outage from 2026-01-02T03:04:05Z", "\nsome\\x1b[2J.pcap\n", "0  bytes never captured",
		"3  exchanges", "records written: 3 (2.0 KiB)", "some\\x1b[2J.pcap: the account does not balance: frames arrived = frames decoded: 11 ≠ 10",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestStatusLineTellsWhyNothingShows(t *testing.T) {
	silent := Ledger{Live: true, Source: source.CounterSnapshot{Connected: true}}
	encrypted := balanced()
	encrypted.Engine.Protocols[engine.TLS], encrypted.Engine.Protocols[engine.HTTP1] = encrypted.Engine.Protocols[engine.HTTP1], engine.ProtocolStats{}
	lost := balanced()
	lost.Source.Connected = false
	stuck := balanced()
	stuck.Source.Silent = true
	tests := []struct {
		name   string
		ledger Ledger
		out    Output
		want   string
	}{
		{"no frame", silent, Output{}, "no frame has arrived"},
		{"encrypted", encrypted, Output{}, "encrypted)"},
		{"lost", lost, Output{Emitted: 1}, "1 of 1 sources lost"},
		{"stuck", stuck, Output{Emitted: 1}, "1 of 1 servers don't answer"},
		{"all well", balanced(), Output{Emitted: 3}, "10 frames, 2 lost; connections open: 1 HTTP/1"},
	}
	for _, tt := range tests {
		if got := StatusLine([]Ledger{tt.ledger}, tt.out); !strings.Contains(got, tt.want) || strings.Contains(got, "\n") {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
