package main

import (
	"context"
	"fmt"
	"os"
)

func Example() {
	if err := run(context.Background(), os.Stdout, ""); err != nil {
		fmt.Println(err)
	}
	// Output:
	// map: [1 4 9 16]
	// map as finished, sorted: [1 16 4 9]
	// starmap: [8 9 1000000]
	// apply: 144
	// apply, asynchronous: 25 36 49
}
