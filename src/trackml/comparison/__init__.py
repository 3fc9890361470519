"""Configurations side by side, from finished runs: statistics, leaderboard, figures."""
