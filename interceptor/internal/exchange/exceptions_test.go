package exchange

import (
	"strings"
	"testing"
)

// TestExceptionsThatNothingStandsFor: what is taken out of the masks has to be in them, by
// name or by ending.
func TestExceptionsThatNothingStandsFor(t *testing.T) {
	for _, tc := range []struct {
		what         string
		check        func([]string) error
		usual        []string
		taken, wrong []string
	}{
		{"fields", CheckMaskHeaders, append(DefaultMaskHeaders(), "*-Pin"),
			[]string{"-X-Csrf-Token", " -set_cookie", "-*authorization", "-*-Csrf-Token", "-*key", "-*", "-x-pin", "-*cookie", "-x-token-bin"},
			[]string{"-X-Csrf-Tokn", "-", "-*tokenx", "-Referer", "-*-Referer", "-cookie-x"}},
		{"parameters", CheckMaskQuery, append(DefaultMaskQuery(), "pin"),
			[]string{"-csrf_token", "-*csrfToken", "-*token", "-code", "-*code", "-key", "-PIN", "-*", "-aws-access-key-id"},
			[]string{"-page_token", "-cod", "-", "-*keys", "-q", "-eyJ*.*.*"}},
	} {
		if err := tc.check(append(tc.usual, tc.taken...)); err != nil {
			t.Errorf("%s: %v", tc.what, err)
		}
		for _, n := range tc.wrong {
			switch err := tc.check(append(tc.usual, n)); {
			case err == nil:
				t.Errorf("%s: %q is taken", tc.what, n)
			case !strings.Contains(err.Error(), n) || !strings.Contains(err.Error(), tc.usual[0]) || strings.ContainsAny(err.Error(), "?="):
				t.Errorf("%s: %q: %v", tc.what, n, err)
			}
		}
	}
}
