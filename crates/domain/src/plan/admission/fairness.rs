//! Fairness between jobs: how often each of them starts, over long queues.

