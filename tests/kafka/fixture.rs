//! What the broker tests share: topics, settings and readers that use none of the code under test.
