package chart

import (
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
)

// TestLint holds that "helm lint" warns of nothing.
func TestLint(t *testing.T) {
	found := lint.RunAll(chartDir, nil, Namespace)
	if len(found.Messages) == 0 { // there is one about an icon
		t.Error("nothing was examined")
	}
	for _, m := range found.Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
}
