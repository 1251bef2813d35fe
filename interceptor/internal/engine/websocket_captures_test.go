package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/exchange/exchangetest"
	"capstan/interceptor/internal/l7/websocket"
	capstanv1 "capstan/proto/capstan/v1"
)

// TestWebSocketCapturesAgainstIndependentJudge holds that messages are told as
// tshark tells the frames that make them up.
func TestWebSocketCapturesAgainstIndependentJudge(t *testing.T) {
	dir := capturesDir(t)
	files := 0
	for _, row := range captureIndex(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, row.expected))
		if err != nil {
			t.Fatal(err)
		}
		var e struct {
			Frames []struct {
				Src, Opcode, Fin, Masked string
				Len                      json.Number
			} `json:"websocket_frames"`
			Messages []struct{ Src, Kind string } `json:"http1_messages"`
		}
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		if len(e.Frames) == 0 {
			continue
		}
		files++
		t.Run(row.file, func(t *testing.T) {
			var want []string
			open := make(map[string]*[2]int) // opcode and size of a message in fragments, by its sender
			var malformed uint64
			for _, f := range e.Frames {
				fromClient := false
				for _, m := range e.Messages {
					fromClient = fromClient || m.Kind == "request" && m.Src == f.Src
				}
				if fromClient != (f.Masked == "1") {
					malformed++
				}
				opcode, _ := strconv.Atoi(f.Opcode)
				size, _ := strconv.Atoi(f.Len.String())
				if opcode >= 8 {
					want = append(want, fmt.Sprint(opcode, " ", size))
					continue
				}
				m := open[f.Src]
				if m == nil {
					m = &[2]int{opcode, 0}
					open[f.Src] = m
				}
				if m[1] += size; f.Fin == "1" {
					want = append(want, fmt.Sprint(m[0], " ", m[1]))
					delete(open, f.Src)
				}
			}
			var records []*capstanv1.Exchange
			engine := New(Config{WebSocket: websocket.Config{MaxMessages: 1000}, Exchange: exchange.Config{Emit: exchangetest.Keep(&records)}})
			for _, f := range captureFrames(t, filepath.Join(dir, row.file)) {
				engine.Frame(&f)
			}
			engine.Finish()
			var got []string
			for _, x := range records {
				w := x.GetWebsocket()
				for _, m := range w.GetMessages() {
					got = append(got, fmt.Sprint(m.Opcode, " ", m.Size))
				}
				malformed -= w.GetClient().GetMalformedFrames() + w.GetServer().GetMalformedFrames()
			}
			if malformed != 0 {
				t.Errorf("of the frames that break the rules of masks, %d more than are told", int64(malformed))
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
	t.Logf("%d files", files)
}
