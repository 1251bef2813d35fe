package reassembly

import "testing"

func TestOverlapText(t *testing.T) {
	for _, o := range []Overlap{OverlapFirst, OverlapLast} {
		text, err := o.MarshalText()
		var got Overlap
		if err != nil || got.UnmarshalText(text) != nil || got != o {
			t.Errorf("%v: %q, %v", o, text, got)
		}
	}
	if err := new(Overlap).UnmarshalText([]byte("middle")); err == nil {
		t.Error("no error")
	}
	if got := Overlap(7).String(); got != "Overlap(7)" {
		t.Errorf("unknown policy is called %q", got)
	}
}
