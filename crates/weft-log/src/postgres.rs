//! PostgreSQL, as everything of Weft that keeps tables there uses it.

/// What a connection is told, so that whatever is asked leads through an index. Statements are planned once, perhaps on the
/// first day when the tables are empty: without this they would read whole tables until those are next analysed, and
/// wherever the planner does not know how long an array is.
pub const THROUGH_INDEXES: [(&str, &str); 5] = [
    ("jit", "off"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];
