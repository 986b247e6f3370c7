//! Connections that carry the hash equivalence protocol: unix, TCP, WebSocket, TLS.
