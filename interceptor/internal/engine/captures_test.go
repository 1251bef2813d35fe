package engine

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
	"capstan/pkg/packet"
	capstanv1 "capstan/proto/capstan/v1"
)

// capturesDir holds capture files of other projects' making, with INDEX.tsv
// and the judgement of independent tools in expected/.
func capturesDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CAPTURES_DIR")
	if dir == "" {
		dir = "../../../../shared/captures"
	}
	if _, err := os.Stat(filepath.Join(dir, "INDEX.tsv")); err != nil {
		t.Skipf("no capture files in %s (set CAPTURES_DIR)", dir)
	}
	return dir
}

// indexed is a row of INDEX.tsv.
type indexed struct{ file, category, consensus, expected string }

func captureIndex(t *testing.T, dir string) []indexed {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma, r.LazyQuotes = '\t', true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	var index []indexed
	for _, row := range rows[1:] {
		index = append(index, indexed{row[column["file"]], row[column["category"]], row[column["consensus"]], row[column["expected_json"]]})
	}
	return index
}

// readCapture runs a file through an engine of its own.
func readCapture(t testing.TB, file string) ([]*capstanv1.Exchange, Snapshot) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return runEngine(t, data)
}

// captureFrames returns the frames of a file.
func captureFrames(t testing.TB, file string) (frames []capture.Frame) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := capfile.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var f capture.Frame
		if err := r.Next(&f); err != nil {
			return frames
		}
		f.Data = bytes.Clone(f.Data)
		frames = append(frames, f)
	}
}

func runEngine(t testing.TB, data []byte) ([]*capstanv1.Exchange, Snapshot) {
	t.Helper()
	var records []*capstanv1.Exchange
	e := New(Config{Exchange: exchange.Config{Source: "test", Keep: exchange.NewKeep(100, nil, nil),
		Emit: exchangetest.Keep(&records)}})
	r, err := capfile.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var f capture.Frame
	for err = r.Next(&f); err == nil; err = r.Next(&f) {
		e.Frame(&f)
	}
	if err != io.EOF {
		t.Logf("ended with %v", err)
	}
	e.Finish()
	return records, e.Snapshot()
}

// heldOf returns all that is told to be held for connections.
func heldOf(s *Snapshot) [13]int {
	return [...]int{
		s.Reassembly.Charge, s.Defrag.Charge, s.Undecided.Held, s.HTTP1.Charge, s.HTTP1.HeldHeads, s.HTTP1.HeldContent,
		s.HTTP2.Charge, s.HTTP2.HeldContent, s.HTTP2.HeldBlocks, s.HTTP2.HeldTables, s.HTTP2.HeldSearch, s.WebSocket.Listed + s.WebSocket.Held,
		s.TLS.Held,
	}
}

// checkSnapshot holds what must balance whatever the file.
func checkSnapshot(t *testing.T, s *Snapshot, records []*capstanv1.Exchange) {
	t.Helper()
	checkAccount(t, s)
	var active uint64
	for _, p := range s.Protocols {
		active += p.Active
	}
	if active != 0 || s.Reassembly.Active != 0 || s.Reassembly.QueuedBytes != 0 || s.Defrag.Waiting != 0 || s.HTTP1.Waiting != 0 || s.HTTP2.Open != 0 {
		t.Errorf("after the end: %d connections open here, %d at the assembler, %d bytes queued, %d fragments and %d requests wait, %d streams are open",
			active, s.Reassembly.Active, s.Reassembly.QueuedBytes, s.Defrag.Waiting, s.HTTP1.Waiting, s.HTTP2.Open)
	}
	if held := heldOf(s); held != [13]int{} {
		t.Errorf("after the end there are held: %v", held)
	}
	if int(s.Exchange.Total()) != len(records) {
		t.Errorf("%d exchanges counted, %d told", s.Exchange.Total(), len(records))
	}
}

// checkAccount holds that nothing is uncounted, at any moment.
func checkAccount(t *testing.T, s *Snapshot) {
	t.Helper()
	var outcomes, bytes uint64
	for _, n := range s.Outcomes {
		outcomes += n
	}
	for _, p := range s.Protocols {
		bytes += p.Bytes
	}
	if r := &s.Reassembly; r.PayloadBytes != r.DeliveredBytes+r.DuplicateBytes+r.CopyBytes+r.Dropped()+uint64(r.QueuedBytes) {
		t.Errorf("%d bytes of payload don't add up: %+v", r.PayloadBytes, *r)
	}
	if found := s.Outcomes[packet.OutcomeTCP] + s.Datagrams[packet.OutcomeTCP]; found != s.Reassembly.Segments {
		t.Errorf("%d segments were found, %d taken", found, s.Reassembly.Segments)
	}
	if found := s.Outcomes[packet.OutcomeFragment] + s.Datagrams[packet.OutcomeFragment]; found != s.Defrag.Joined+s.Defrag.DroppedFragments()+uint64(s.Defrag.Waiting) {
		t.Errorf("%d fragments were found, %+v", found, s.Defrag)
	}
	if outcomes != s.Frames {
		t.Errorf("%d frames, %d outcomes", s.Frames, outcomes)
	}
	if bytes != s.Reassembly.DeliveredBytes {
		t.Errorf("%d bytes in order, %d over protocols", s.Reassembly.DeliveredBytes, bytes)
	}
}

// TestSameFileSameRecords reads every file twice: the account balances, and the
// records are equal to the byte.
func TestSameFileSameRecords(t *testing.T) {
	dir := capturesDir(t)
	for _, row := range captureIndex(t, dir) {
		a, snapshot := readCapture(t, filepath.Join(dir, row.file))
		checkSnapshot(t, &snapshot, a)
		b, _ := readCapture(t, filepath.Join(dir, row.file))
		if len(a) != len(b) {
			t.Fatalf("%s: %d records, then %d", row.file, len(a), len(b))
		}
		ids := make(map[string]bool)
		for i := range a {
			if !proto.Equal(a[i], b[i]) {
				t.Fatalf("%s: record %d differs:\n%v\n%v", row.file, i, a[i], b[i])
			}
			if ids[a[i].Id] {
				t.Errorf("%s: id %s twice", row.file, a[i].Id)
			}
			ids[a[i].Id] = true
		}
	}
}

// TestEveryConnectionIsTold: whatever is missing, a connection that carried anything has
// a record.
func TestEveryConnectionIsTold(t *testing.T) {
	dir := capturesDir(t)
	connections := 0
	for _, row := range captureIndex(t, dir) {
		frames := captureFrames(t, filepath.Join(dir, row.file))
		check := func(how string, frames []capture.Frame) {
			told := 0
			e := New(Config{Exchange: exchange.Config{Emit: func(x *capstanv1.Exchange) {
				if strings.HasSuffix(x.Id, "-0") { // the first of its connection
					told++
				}
			}}})
			for i := range frames {
				e.Frame(&frames[i])
			}
			e.Finish()
			s, all := e.Snapshot(), 0
			for _, p := range s.Protocols {
				all += int(p.Connections)
			}
			connections += all
			if told != all {
				t.Errorf("%s %s: of %d connections %d are told", row.file, how, all, told)
			}
		}
		check("whole", frames)
		check("without the first third", frames[len(frames)/3:])
		r := rand.New(rand.NewPCG(1, uint64(len(frames))))
		for round := range 20 {
			var some []capture.Frame
			for _, f := range frames {
				if r.IntN(20) > round/2 { // up to half of them lost
					some = append(some, f)
				}
			}
			check(fmt.Sprintf("with losses %d", round), some)
			check(fmt.Sprintf("with losses %d, cut", round), cutTo(some, []int{60, 80, 100, 200}[round%4]))
		}
	}
	t.Logf("%d connections", connections)
}
