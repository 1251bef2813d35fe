package exchange

import "testing"

// BenchmarkMaskURL takes targets with nothing to be masked, and one with.
func BenchmarkMaskURL(b *testing.B) {
	screen := newScreen(0, DefaultMaskHeaders(), DefaultMaskQuery())
	for _, url := range []string{"/api/products/1234?page=7", "/api/v1/products/1234.json", "/api/products?sort_by=name&filter%5Bid%5D=12", "/api/products?access_token=1234"} {
		b.Run(url, func(b *testing.B) {
			for b.Loop() {
				screen.maskURL(url, bareAuthority)
			}
		})
	}
}

// BenchmarkNewScreen makes what is asked, as each engine does.
func BenchmarkNewScreen(b *testing.B) {
	for b.Loop() {
		newScreen(0, nil, nil)
		newScreen(0, DefaultMaskHeaders(), DefaultMaskQuery())
	}
}
