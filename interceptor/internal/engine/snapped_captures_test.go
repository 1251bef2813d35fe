package engine

import (
	"fmt"
	"path/filepath"
	"testing"

	"capstan/interceptor/internal/exchange"
	"capstan/pkg/capture"
	capstanv1 "capstan/proto/capstan/v1"
)

// pairsByStart returns which response answers which request of HTTP/1, both named
// by their time; "" where one time names several.
func pairsByStart(frames []capture.Frame) map[string]string {
	pairs := make(map[string]string)
	e := New(Config{Exchange: exchange.Config{Emit: func(x *capstanv1.Exchange) {
		if x.StreamId != 0 || x.Request == nil || x.Response == nil {
			return
		}
		request := fmt.Sprint(x.Client.Address, x.Client.Port, x.Server.Address, x.Server.Port, x.Request.Method, x.Request.FirstByteUnixNs)
		response := fmt.Sprint(x.Response.Status, x.Response.FirstByteUnixNs)
		if _, twice := pairs[request]; twice {
			response = ""
		}
		pairs[request] = response
	}}})
	for i := range frames {
		e.Frame(&frames[i])
	}
	e.Finish()
	return pairs
}

// TestSnappedCaptures cuts the frames of captures as a short snap length does:
// most requests are still given their response, and none another one.
func TestSnappedCaptures(t *testing.T) {
	dir := capturesDir(t)
	for _, length := range []int{128, 256, 1000} {
		all, told := 0, 0
		for _, row := range captureIndex(t, dir) {
			frames := captureFrames(t, filepath.Join(dir, row.file))
			whole := pairsByStart(frames)
			for i := range frames {
				frames[i].Data = frames[i].Data[:min(len(frames[i].Data), length)]
			}
			cut := pairsByStart(frames)
			for request, response := range whole {
				if response == "" {
					continue
				}
				all++
				switch cut[request] {
				case response:
					told++
				case "":
				default:
					t.Errorf("%s, cut to %d bytes: %s is answered by %s, not %s", row.file, length, request, cut[request], response)
				}
			}
		}
		t.Logf("cut to %d bytes: %d of %d pairs", length, told, all)
		if told*100 < all*95 {
			t.Errorf("that is less than 95 of 100")
		}
	}
}
