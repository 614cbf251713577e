//go:build tools

// Package notation pins the notation command itself, which scripts/install-tools
// builds: as a dependency, because the module's versions are not listed
// everywhere, and `go install` asks for the list.
package notation

import _ "github.com/notaryproject/notation/cmd/notation"
