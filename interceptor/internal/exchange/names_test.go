package exchange

import "testing"

// TestMaskSetExcepts: an exception goes before names, endings, and what gRPC's metadata in
// base64 is named like.
func TestMaskSetExcepts(t *testing.T) {
	m := newMaskSet([]string{"*-token", "cookie", " -x-csrf_token", "-other-token-bin", "-*-public-token"})
	for name, want := range map[string]bool{
		"cookie": true, "x-token": true, "x-token-bin": true, "other-token": true, "other-token-bin": false,
		"X-CSRF-Token": false, "x-csrf-token-bin": false, "a-public-token": false, "-x-csrf-token": true,
	} {
		if got := m.listsField(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
