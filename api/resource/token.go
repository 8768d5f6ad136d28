package resource

import (
	"time"

	"github.com/hauberk-mesh/hauberk/api"
)

// Token is the record of an issued token, without its secret. Read-only: "token create" and "token revoke" write it.
// Its name is the token's id (the JWT's jti). A token of a user belongs to no mesh but is stored under the default one.
type Token struct {
	Type      string    `json:"type"` // dataplane or user
	Dataplane string    `json:"dataplane,omitempty"`
	Service   string    `json:"service,omitempty"`
	Workload  string    `json:"workload,omitempty"`
	User      string    `json:"user,omitempty"`
	Issued    time.Time `json:"issued"`
	Expires   time.Time `json:"expires"`
	Revoked   bool      `json:"revoked,omitempty"`
}

// The types of tokens.
const (
	TokenDataplane = "dataplane"
	TokenUser      = "user"
)

// TokenKind describes Token.
func TokenKind() api.Kind {
	return readOnly(short(api.DefineKind("Token", "tokens", unvalidated[Token]), "token"))
}
