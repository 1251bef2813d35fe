package textbook_test

import (
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
			bodyLen, told := int64(1800), uint64(0)
			if name == "api-8k" {
				bodyLen = 8 << 10
			}
			p := textbook.New(func(e *textbook.Exchange) {
				told++
				kept := int(min(bodyLen, 4096))
				if e.Method != "GET" || e.Status != 200 || e.Path == "" || e.Host == "" || e.ResponseLen != bodyLen || len(e.ResponseBody) != kept ||
					len(e.RequestHeader) == 0 || len(e.ResponseHeader) == 0 || e.RequestLen != 0 {
					t.Errorf("exchange %+v", e)
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
