//! Hash equivalence server: sessions over every transport, limits, shutdown.
