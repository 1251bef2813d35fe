package engine

import (
	"os"
	"testing"

	"capstan/pkg/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
