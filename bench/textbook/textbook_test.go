package textbook_test

import (
	"fmt"
	"testing"

	"capstan/bench/textbook"
	"capstan/bench/workload"
)

// TestEveryExchangeIsTold holds that the comparison is one between pipelines
// that do the work: each exchange of each workload, whole.
func TestEveryExchangeIsTold(t *testing.T) {
	for _, name := range workload.Names() {
		t.Run(name, func(t *testing.T) {
			w, err := workload.New(name)
			if err != nil {
				t.Fatal(err)
			}
			method, requestLen, bodyLen, told := "GET", int64(0), int64(1800), uint64(0)
			switch name {
			case "api-8k":
				bodyLen = 8 << 10
			case "grpc":
				const prefixLen = 5 // of a message
				method, requestLen, bodyLen = "POST", 200+prefixLen, bodyLen+prefixLen
			}
			p := textbook.New(func(e *textbook.Exchange) {
				told++
				kept := int(min(bodyLen, 4096))
				if e.Method != method || e.Status != 200 || e.Path == "" || e.Host == "" || e.ResponseLen != bodyLen || len(e.ResponseBody) != kept ||
					len(e.RequestHeader) == 0 || len(e.ResponseHeader) == 0 || e.RequestLen != requestLen {
					t.Errorf("exchange %.300s", fmt.Sprintf("%+v", e))
				}
			})
			for i := range w.Frames {
				p.Frame(&w.Frames[i])
			}
			p.Finish()
			if told != w.Exchanges {
				t.Errorf("%d exchanges, want %d", told, w.Exchanges)
			}
		})
	}
}
