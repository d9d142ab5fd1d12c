"""Still pictures of hands: points, their error, a hand model over the picture, and what may be wrong.

    pictures ─► hands ─► single_view ─► failures ─► results

One picture says how a hand is held, and neither how large it is nor how far away: sizes come from the average
hand or from a length that a person measured.
"""
